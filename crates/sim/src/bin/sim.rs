fn main() {
    let seed = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let prints = std::env::args().nth(2).is_some();
    let kinds = Some(vec![]);
    let options = igor_sim::cluster::Options { prints, wanted: igor_sim::cluster::plan::Wanted { kinds, keep: None }, ..Default::default() };
    let t = std::time::Instant::now();
    let o = igor_sim::cluster::run(seed, &options);
    println!("{o:#?} {:?}", t.elapsed());
}
