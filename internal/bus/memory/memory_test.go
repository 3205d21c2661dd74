package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"freshet/internal/bus/bustest"
	"freshet/internal/bus/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) bustest.Form {
	b := memory.New()
	t.Cleanup(b.Close)
	return bustest.Form{Bus: b, Peer: b, Lose: b.Lose}
}

func TestSuite(t *testing.T) { bustest.Run(t, open) }

func TestLoss(t *testing.T) { bustest.RunLoss(t, open) }
