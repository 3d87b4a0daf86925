// An agent in JavaScript: its state is a plain object.
let state = { born: 0, ticks: 0, words: {}, dice: 0 };

globalThis.agent = {
  tick() {
    if (state.ticks++ === 0) {
      state.born = Date.now();
      print(`born ${new Date(state.born).toISOString()}`);
    }
    for (let n = 0; n < 8; n++) {
      const word = igor.next();
      if (word === null) {
        igor.log(`tick ${state.ticks}, ${Object.keys(state.words).length} words`);
        return 0;
      }
      state.words[word] = (state.words[word] ?? 0) + 1;
      state.dice = Math.floor(Math.random() * 6) + 1;
      igor.reply(`${word}: ${state.words[word]}, dice ${state.dice}`);
    }
    return 1;
  },
  checkpoint: () => JSON.stringify(state),
  resume(text) { state = JSON.parse(text); },
};
