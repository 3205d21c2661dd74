package command

import "time"

// Progress is what a node reports of its follower, about once a second and right
// after it has applied something (bus.SubjectProgress).
type Progress struct {
	Node    string    `json:"node"`
	Role    string    `json:"role"`
	Log     LogID     `json:"log"`
	Applied Seq       `json:"applied"`       // durable on that node
	Link    Link      `json:"link,omitzero"` // of the record at Applied, where it is known
	At      time.Time `json:"at"`
	// Forked is the log that contradicts what the node has applied of it: it is shorter, or
	// has other commands. The node takes no more from it, and the leader begins a new epoch.
	Forked LogID  `json:"forked,omitempty"`
	Sites  uint64 `json:"sites,omitempty"` // version of the site documents that it goes by, also after a restart
	Left   bool   `json:"left,omitempty"`  // the last report: the node serves no more
	Alarm  string `json:"alarm,omitempty"` // set while an operator should look: the log was replaced, a record is unknown
}
