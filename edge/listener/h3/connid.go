package h3

import (
	"crypto/rand"

	"github.com/quic-go/quic-go"
)

// connIDLen is the length of the connection IDs that we give, in bytes.
const connIDLen = 8

// connIDs makes connection IDs that begin with the generation of the process, by which
// packets find it when a successor shares its port; see run.SteerQUIC. The rest is random.
type connIDs struct{ generation uint8 }

func (g connIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	var b [connIDLen]byte
	if _, err := rand.Read(b[1:]); err != nil {
		return quic.ConnectionID{}, err
	}
	b[0] = g.generation
	return quic.ConnectionIDFromBytes(b[:]), nil
}

func (connIDs) ConnectionIDLen() int { return connIDLen }
