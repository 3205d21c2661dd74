package command

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// NewID draws the id of a command: 32 hexadecimal digits.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// NewLogID draws the id of a log, which is never zero.
func NewLogID() LogID {
	var b [8]byte
	for {
		rand.Read(b[:])
		if id := LogID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
}
