// Package load is what the nodes that serve clients say of how busy they are, once a
// second on the bus, and what those who steer by it keep of that. Load is too lively for
// the cluster's store, and may be lost: who has not heard of a node for Unknown does not
// know its load.
package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode"

	"freshet/internal/bus"
)

// Times of load.
const (
	Every   = time.Second     // a node says how busy it is
	Unknown = 3 * time.Second // after that a report says nothing of now
)

// version is that of the encoding. Fields may be added within one; a reader refuses
// another.
const version = 1

// ErrVersion: a report is of a version that this program cannot read.
var ErrVersion = errors.New("report of load of another version")

// NotKnown stands for a share that cannot be measured on a machine.
const NotKnown = -1

// Report is how busy one node is: rates and shares over the last second or so. A share
// is in 0..1, or NotKnown.
type Report struct {
	Node     string    `json:"node"`
	Role     string    `json:"role"`
	At       time.Time `json:"at"`       // by the node's clock
	Requests float64   `json:"requests"` // answered, each second
	InFlight int64     `json:"in_flight"`
	Bytes    float64   `json:"bytes"`   // of bodies sent, each second
	Hits     float64   `json:"hits"`    // share of requests answered from the cache; NotKnown without requests
	Process  float64   `json:"process"` // share of the CPUs that the process may use
	Machine  float64   `json:"machine"` // share of the machine's CPUs in use, whoever uses them
	NIC      float64   `json:"nic"`     // share of the speed of the fullest network interface, outwards
	// Utilisation is the highest of the shares that are known: at 1 the node can do no more.
	Utilisation float64 `json:"utilisation"`
	// Capacity estimates the requests a second that the node could answer of what it gets
	// now; 0 while it is too idle to tell.
	Capacity float64 `json:"capacity"`
	// Kept, if set, says that the node goes by what it knew of the cluster at that time,
	// because it cannot read it.
	Kept *time.Time `json:"kept,omitempty"`
	// Lost counts site documents that the node keeps though the cluster's store has lost them.
	Lost int `json:"lost,omitempty"`

	Version int `json:"v"`
}

// Subject is where the reports of a node are published.
func Subject(node string) string { return bus.SubjectLoad + "." + node }

// encode is the report as it is sent.
func (r Report) encode() ([]byte, error) {
	r.Version = version
	return json.Marshal(r)
}

// Decode reads a report that came under a subject. ErrVersion.
func Decode(subject string, data []byte) (Report, error) {
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return Report{}, fmt.Errorf("report of load on %s: %w", subject, err)
	}
	switch {
	case r.Version != version:
		return Report{}, fmt.Errorf("%w: %d on %s", ErrVersion, r.Version, subject)
	case r.Node == "" || subject != Subject(r.Node):
		return Report{}, fmt.Errorf("report of load on %s is of node %.64q", subject, r.Node)
	case !sane(r.Requests) || !sane(r.Bytes) || !sane(r.Capacity) || r.InFlight < 0 || r.Lost < 0 || !word(r.Role):
		return Report{}, fmt.Errorf("report of load on %s makes no sense", subject)
	}
	for _, share := range []*float64{&r.Hits, &r.Process, &r.Machine, &r.NIC, &r.Utilisation} {
		if *share < 0 {
			*share = NotKnown
		}
		*share = min(*share, 1)
	}
	r.Utilisation = max(r.Utilisation, 0)
	return r, nil
}

// sane reports whether a rate can be reckoned with. JSON has neither infinity nor NaN.
func sane(rate float64) bool { return rate >= 0 && rate <= math.MaxUint32*1e6 }

// word reports whether a text can be shown and used as a label.
func word(text string) bool {
	for _, c := range text {
		if c > unicode.MaxASCII || !unicode.IsLower(c) {
			return false
		}
	}
	return len(text) <= 32
}
