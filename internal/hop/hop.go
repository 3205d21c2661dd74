// Package hop is what the tiers of one cluster say to each other in header
// fields: who is asking (trust), how true an answer must be (the fence), and how
// true an answer is (born, asof). The fields are believed only from nodes of the
// same cluster and are stripped towards and from everybody else.
//
//	request:   Freshet-Hop:   <proof>
//	           Freshet-Fence: log=<id>, hard=<seq>, floor=<seq>, born=<seq>
//	response:  Freshet-True:  log=<id>, born=<seq>, asof=<seq>
//
// Ids are 16 hexadecimal digits, sequences decimal. A part that is absent is zero.
package hop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"freshet/internal/command"
	"freshet/internal/header"
)

// The header fields. All of ours start with Prefix.
const (
	Prefix     = "Freshet-"
	ProofField = "Freshet-Hop"
	FenceField = "Freshet-Fence"
	TrueField  = "Freshet-True"
)

// ErrMalformed: a hop field from a trusted node cannot be read.
var ErrMalformed = errors.New("malformed hop field")

// Fence is how true an answer must be, as the node that asks knows it. Each part
// is a sequence of the log named; zero asks for nothing.
type Fence struct {
	Log   command.LogID
	Hard  command.Seq // the highest hard mark known to cover what is asked for
	Soft  command.Seq // the highest soft mark likewise: what is true no further has to be validated
	Floor command.Seq // below it nothing counts
	Born  command.Seq // the origin must have been asked at this sequence or later
}

// Max is the fence that satisfies both, part by part. Fences of different logs
// have no order; then the result is g.
func (f Fence) Max(g Fence) Fence {
	if f.Log != g.Log {
		return g
	}
	return Fence{f.Log, max(f.Hard, g.Hard), max(f.Soft, g.Soft), max(f.Floor, g.Floor), max(f.Born, g.Born)}
}

// Covers reports whether an answer that satisfies f satisfies g as well.
func (f Fence) Covers(g Fence) bool {
	return f.Log == g.Log && f.Hard >= g.Hard && f.Soft >= g.Soft && f.Floor >= g.Floor && f.Born >= g.Born
}

// Marks is the highest mark of either kind.
func (f Fence) Marks() command.Seq { return max(f.Hard, f.Soft) }

// Highest is the highest part.
func (f Fence) Highest() command.Seq { return max(f.Hard, f.Soft, f.Floor, f.Born) }

// Soft is a soft mark: what it covers is stale from Since on, until it was validated.
type Soft struct {
	Seq   command.Seq // zero for none
	Since int64       // when the mark was appended, in Unix milliseconds
}

// Truth is how true an answer is: born, asof and the open soft mark of a stored response.
type Truth struct {
	Log  command.LogID
	Born command.Seq // what the node that asked the origin had applied when it asked
	AsOf command.Seq // no hard mark up to this covers it; at least Born
	Soft Soft        // the first soft mark up to AsOf that does; zero for none
	// IfError: nothing better could be had, so that there is no use in asking again
	// (stale-if-error).
	IfError bool
}

// Attested is up to where no mark covers the answer, hard or soft.
func (t Truth) Attested() command.Seq {
	if t.Soft.Seq != 0 {
		return max(t.Born, min(t.AsOf, t.Soft.Seq-1))
	}
	return t.AsOf
}

// Satisfies reports whether a response of this truth may answer a request with
// fence f, be it as stale.
func (t Truth) Satisfies(f Fence) bool {
	return t.Log == f.Log && t.AsOf >= f.Hard && t.AsOf >= f.Floor && t.Born >= f.Born
}

// Open reports whether a soft mark is open that f speaks of: the response is stale for
// who asks, or has to be validated.
func (t Truth) Open(f Fence) bool { return t.Attested() < f.Soft }

// AppendTo writes the fence into h.
func (f Fence) AppendTo(h *header.Block) error {
	var room [160]byte
	b := appendPart(appendPart(appendPart(appendLog(room[:0], f.Log), "hard", f.Hard), "floor", f.Floor), "born", f.Born)
	if f.Soft != 0 {
		b = appendPart(b, "soft", f.Soft)
	}
	return set(h, FenceField, b)
}

// AppendTo writes the truth into h.
func (t Truth) AppendTo(h *header.Block) error {
	var room [192]byte
	b := appendPart(appendPart(appendLog(room[:0], t.Log), "born", t.Born), "asof", t.Attested())
	if t.Soft.Seq > t.Born && t.Soft.Seq <= t.AsOf { // above that asof says enough
		b = appendPart(appendPart(appendPart(b, "tested", t.AsOf), "soft", t.Soft.Seq), "since", command.Seq(max(t.Soft.Since, 0)))
	}
	if t.IfError {
		b = appendPart(b, "iferror", 1)
	}
	return set(h, TrueField, b)
}

// set is h.Set of a value that is copied.
func set(h *header.Block, name string, value []byte) error {
	return h.Set(name, unsafe.String(unsafe.SliceData(value), len(value)))
}

func appendLog(dst []byte, log command.LogID) []byte {
	dst = append(dst, "log="...)
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[log>>shift&15])
	}
	return dst
}

func appendPart(dst []byte, name string, seq command.Seq) []byte {
	dst = append(append(append(dst, ", "...), name...), '=')
	return strconv.AppendUint(dst, uint64(seq), 10)
}

// ReadFence reads the fence of a trusted request; without the field it is zero.
func ReadFence(h *header.Block) (Fence, error) {
	var f Fence
	parts := [...]part{{name: "hard"}, {name: "floor"}, {name: "born"}, {name: "soft"}}
	err := parse(h.Get(FenceField), &f.Log, parts[:])
	f.Hard, f.Floor, f.Born, f.Soft = parts[0].seq, parts[1].seq, parts[2].seq, parts[3].seq
	return f, err
}

// ReadTruth reads the truth of a trusted answer; ok is false without the field.
func ReadTruth(h *header.Block) (t Truth, ok bool, err error) {
	if !h.Has(TrueField) {
		return Truth{}, false, nil
	}
	parts := [...]part{{name: "born"}, {name: "asof"}, {name: "tested"}, {name: "soft"}, {name: "since"}, {name: "iferror"}}
	err = parse(h.Get(TrueField), &t.Log, parts[:])
	asOf, since := parts[1].seq, parts[4].seq
	t.Born, t.AsOf, t.IfError = parts[0].seq, max(asOf, parts[2].seq), parts[5].seq != 0
	t.Soft = Soft{parts[3].seq, int64(since & math.MaxInt64)}
	switch {
	case err != nil:
	case asOf < t.Born:
		err = fmt.Errorf("%w: asof below born", ErrMalformed)
	case t.Soft.Seq == 0 && t.AsOf > asOf, t.Soft.Seq != 0 && (t.Soft.Seq <= asOf || t.Soft.Seq > t.AsOf):
		err = fmt.Errorf("%w: a soft mark that does not lie between asof and tested", ErrMalformed)
	}
	return t, err == nil, err
}

// part is a sequence by its name.
type part struct {
	name string
	seq  command.Seq
}

// parse reads "name=value, …". Names that are not known are ignored: a newer node
// may say more.
func parse(s string, log *command.LogID, parts []part) error {
	if len(s) > 512 {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, len(s))
	}
	for item := range strings.SplitSeq(s, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(item), "=")
		if !found {
			if name == "" {
				continue
			}
			return fmt.Errorf("%w: %q", ErrMalformed, name)
		}
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		base := 10
		if name == "log" {
			base = 16
		} else if i < 0 {
			continue
		}
		n, err := strconv.ParseUint(value, base, 64)
		if err != nil {
			return fmt.Errorf("%w: %s=%q", ErrMalformed, name, value)
		}
		if name == "log" {
			*log = command.LogID(n)
		} else {
			parts[i].seq = command.Seq(n)
		}
	}
	return nil
}

// Key proves a node to the others of its cluster. The zero Key (no secret) proves
// nothing and trusts nobody.
type Key struct{ proof string }

// NewKey derives the key from the secret that the nodes of a cluster share.
func NewKey(secret string) Key {
	if secret == "" {
		return Key{}
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("freshet hop proof 1"))
	return Key{hex.EncodeToString(mac.Sum(nil))}
}

// Prove adds the proof to a request to another node of the cluster.
func (k Key) Prove(h *header.Block) error {
	if k.proof == "" {
		return nil
	}
	return h.Set(ProofField, k.proof)
}

// Trusts reports whether a request carries the proof.
func (k Key) Trusts(h *header.Block) bool {
	given := h.Get(ProofField)
	return k.proof != "" && subtle.ConstantTimeCompare(bytesOf(given), bytesOf(k.proof)) == 1
}

// bytesOf are those of a string, which nobody may change.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Strip removes every field of ours, so that nobody outside sees or forges one.
func Strip(h *header.Block) {
	for name := range h.All() {
		if header.HasPrefixName(name, Prefix) {
			h.Filter(func(name, _ string) bool { return !header.HasPrefixName(name, Prefix) })
			return
		}
	}
}
