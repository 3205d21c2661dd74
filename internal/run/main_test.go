package run_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(handingOverEnv) != "" {
		handingOver()
		return
	}
	if os.Getenv(signalledEnv) != "" {
		signalled()
		return
	}
	goleak.VerifyTestMain(m)
}
