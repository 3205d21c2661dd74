package edge

import (
	"fmt"
	"sync"
	"time"

	"freshet/internal/command"
)

// recentCommands is how many commands a node can name that it has carried out.
const recentCommands = 1024

// recent remembers the last commands that were carried out, for explanations.
type recent struct {
	mu struct {
		sync.Mutex
		last [recentCommands]recentCommand
		next int
	}
}

type recentCommand struct {
	seq command.Seq
	c   command.Command // without its scopes
}

// note remembers a command.
func (r *recent) note(seq command.Seq, c command.Command) {
	c.Scopes = nil
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.last[r.mu.next%recentCommands] = recentCommand{seq, c}
	r.mu.next++
}

// name says what is known of the command at seq: "sequence 1.7: purge 12ab by ann at ...".
func (r *recent) name(seq command.Seq) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.mu.last {
		x := &r.mu.last[i]
		if x.seq != seq || seq == 0 {
			continue
		}
		text := fmt.Sprintf("sequence %s: %s %s", seq, x.c.Kind, x.c.ID)
		if x.c.By != "" {
			text += " by " + x.c.By
		}
		return text + " at " + x.c.At.UTC().Format(time.RFC3339)
	}
	return "sequence " + seq.String()
}
