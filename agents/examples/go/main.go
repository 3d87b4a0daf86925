// An agent in Go: it counts words in what it is told, keeps them in a map, and answers with what it knows.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
	"unsafe"
)

//go:wasmimport igor log_emit
func logEmit(text unsafe.Pointer, length uint32)

//go:wasmimport igor message_next
func messageNext(buffer unsafe.Pointer, length uint32) int32

//go:wasmimport igor message_reply
func messageReply(body unsafe.Pointer, length uint32) int32

const (
	none            = -1
	messagesPerTick = 8
)

// Everything that must survive is in here: after a checkpoint the agent goes on in a new instance.
type state struct {
	Born     time.Time
	Ticks    uint64
	Messages uint64
	Words    map[string]uint64
	Lucky    uint64
}

var (
	live     = state{Words: map[string]uint64{}}
	message  [64 << 10]byte
	written  []byte // the checkpoint, until the next one
	incoming []byte // the checkpoint that is about to be resumed
)

func log(text string) {
	logEmit(unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// The node calls it before it copies a state to resume from. The buffer stays reachable: Go must not collect it.
//
//go:wasmexport agent_alloc
func agentAlloc(length uint32) unsafe.Pointer {
	incoming = make([]byte, max(length, 1))
	return unsafe.Pointer(unsafe.SliceData(incoming))
}

//go:wasmexport agent_init
func agentInit() {}

//go:wasmexport agent_tick
func agentTick() int32 {
	if live.Born.IsZero() {
		live.Born = time.Now()
		fmt.Println("born", live.Born.Format(time.RFC3339)) // standard output is the agent's log
	}
	live.Ticks++
	for range messagesPerTick {
		length := messageNext(unsafe.Pointer(&message), uint32(len(message)))
		if length == none {
			log(fmt.Sprintf("tick %d, %d messages", live.Ticks, live.Messages))
			return 0
		}
		if length < 0 {
			panic(fmt.Sprint("message_next: ", length))
		}
		reply := answer(message[:length])
		if code := messageReply(unsafe.Pointer(unsafe.SliceData(reply)), uint32(len(reply))); code != 0 {
			panic(fmt.Sprint("message_reply: ", code))
		}
	}
	return 1 // there may be more
}

// Counts the message as a word and says what is known of it, with a number from the node's randomness.
func answer(word []byte) []byte {
	live.Messages++
	live.Words[string(word)]++
	live.Lucky = rand.Uint64()
	return fmt.Appendf(nil, "%s: %d of %d, age %v", word, live.Words[string(word)], live.Messages,
		time.Since(live.Born).Round(time.Millisecond))
}

//go:wasmexport agent_checkpoint
func agentCheckpoint() int32 {
	bytes, err := json.Marshal(live)
	if err != nil {
		panic(err)
	}
	written = bytes
	return int32(len(written))
}

//go:wasmexport agent_checkpoint_ptr
func agentCheckpointPtr() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(written)) }

//go:wasmexport agent_resume
func agentResume(_ unsafe.Pointer, length uint32) {
	if err := json.Unmarshal(incoming[:length], &live); err != nil {
		panic(err) // the run is undone: better than to forget
	}
	incoming = nil
}

func main() {}
