package load

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheMachine(t *testing.T) {
	if busy, total := ticks([]byte("cpu  10 1 5 100 20 2 3 4 9 9\ncpu0 1 2")); busy != 25 || total != 145 {
		t.Errorf("%d of %d ticks", busy, total)
	}
	for _, text := range []string{"", "cpu", "cpu a b c d e f", "intr 1 2 3 4 5 6"} {
		if busy, total := ticks([]byte(text)); busy != 0 || total != 0 {
			t.Errorf("%q: %d of %d", text, busy, total)
		}
	}
	dir := t.TempDir()
	for file, text := range map[string]string{
		"eth0/speed": "1000\n", "eth0/statistics/tx_bytes": "12345\n", "lo/statistics/tx_bytes": "9\n", "veth/speed": "-1\n",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := interfaces(dir); len(got) != 1 || got["eth0"] != (nic{sent: 12345, speed: 125e6}) {
		t.Errorf("interfaces %v", got)
	}
	before := look()
	for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; { // something to count
	}
	if after := look(); after.process <= before.process || after.total == 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
