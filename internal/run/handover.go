package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// ErrHandedOver is the cause of the end of a process that a successor has taken over
// from: it finishes what is under way and takes on nothing new.
var ErrHandedOver = errors.New("handed over to a new process")

// handOverTimeout is how long a successor may take until it is ready to take over: it
// reads its configuration, no more.
const handOverTimeout = 30 * time.Second

// handOverEnv names the variable that tells a process what it inherits, as JSON.
const handOverEnv = "FRESHET_HANDOVER"

// predecessor is what a process knows of the one that it takes over from.
type predecessor struct {
	Generation uint8    `json:"generation"` // the predecessor's
	Sockets    []socket `json:"sockets"`    // file descriptors from firstInherited on, in this order
	Ready      int      `json:"ready"`      // file descriptor: a byte written says that the successor can begin
	Released   int      `json:"released"`   // file descriptor: ends when the predecessor has let go
	Settled    int      `json:"settled"`    // file descriptor: its end says that the successor has opened all its sockets
	Alive      int      `json:"alive"`      // file descriptor: ends with the predecessor

	ready, released, settled, alive *os.File
}

// firstInherited is the first file descriptor that a child gets besides the standard ones.
const firstInherited = 3

// Inherit is what this process has from its predecessor, which may be nothing.
func Inherit() (*Sockets, error) {
	s := new(Sockets)
	text := os.Getenv(handOverEnv)
	if text == "" {
		return s, nil
	}
	if err := os.Unsetenv(handOverEnv); err != nil {
		return nil, err
	}
	p := new(predecessor)
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fmt.Errorf("read %s: %w", handOverEnv, err)
	}
	inherit := func(fd int, name string) *os.File {
		syscall.CloseOnExec(fd)
		_ = syscall.SetNonblock(fd, true) // for deadlines; an error shows when it is used
		return os.NewFile(uintptr(fd), name)
	}
	for i := range p.Sockets {
		p.Sockets[i].file = inherit(firstInherited+i, p.Sockets[i].Addr)
	}
	p.ready, p.released = inherit(p.Ready, "ready"), inherit(p.Released, "released")
	p.settled, p.alive = inherit(p.Settled, "settled"), inherit(p.Alive, "alive")
	s.predecessor, s.mu.inherited = p, p.Sockets
	return s, nil
}

// TakeOver tells the predecessor, if there is one, that this process can begin, and waits
// until that has let go of what only one of them can have: directories, names, leases.
func (s *Sockets) TakeOver(ctx context.Context) error {
	p := s.predecessor
	if p == nil {
		return nil
	}
	defer p.released.Close()
	_, err := p.ready.Write([]byte{1})
	if err = errors.Join(err, p.ready.Close()); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	if err := awaitEnd(ctx, p.released); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	return nil
}

// Alone is closed once the predecessor has ended, if there was one: nobody else serves
// clients of these sockets then.
func (s *Sockets) Alone() <-chan struct{} {
	if s == nil || s.predecessor == nil {
		return never
	}
	s.ending.Do(func() {
		ended := make(chan struct{})
		s.ended = ended
		go func() {
			defer close(ended)
			_ = awaitEnd(context.Background(), s.predecessor.alive) // there is no other error than its end
		}()
	})
	return s.ended
}

// never is the end of a predecessor that there never was.
var never = func() chan struct{} {
	ended := make(chan struct{})
	close(ended)
	return ended
}()

// awaitEnd waits until nobody has the other end of a pipe any more.
func awaitEnd(ctx context.Context, pipe *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = pipe.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := pipe.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// Successor is a process that is about to take over from this one.
type Successor struct {
	PID int

	released *os.File
	settled  *os.File
	alive    *os.File // held until this process ends
}

// HandOver starts the binary that this process was started from (which may be a newer one
// by now) with the same arguments, and returns when that can take over. It waits for the
// end of this process's own predecessor before: what two share three cannot. This process
// then ends its work in whatever way it likes, calls Release, and exits. After an error
// there is no successor and this process goes on.
func (s *Sockets) HandOver(ctx context.Context) (*Successor, error) {
	binary, err := binaryPath()
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	select {
	case <-s.Alone():
	case <-ctx.Done():
		return nil, fmt.Errorf("hand over: wait for the process before this one to end: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	p := predecessor{Generation: s.Generation(), Sockets: append([]socket(nil), s.mu.open...)}
	s.mu.Unlock()
	readyR, readyW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	defer readyR.Close()
	defer readyW.Close()
	releasedR, releasedW, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("hand over: %w", err)
	}
	defer releasedR.Close()
	settledR, settledW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hand over: %w", err), releasedW.Close())
	}
	defer settledW.Close()
	aliveR, aliveW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hand over: %w", err), releasedW.Close(), settledR.Close())
	}
	defer aliveR.Close()
	failed := func(err error) (*Successor, error) {
		return nil, errors.Join(fmt.Errorf("hand over: %w", err), releasedW.Close(), settledR.Close(), aliveW.Close())
	}

	cmd := exec.Command(binary, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	for _, socket := range p.Sockets {
		cmd.ExtraFiles = append(cmd.ExtraFiles, socket.file)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, readyW, releasedR, settledW, aliveR)
	p.Ready = firstInherited + len(p.Sockets)
	p.Released, p.Settled, p.Alive = p.Ready+1, p.Ready+2, p.Ready+3
	text, err := json.Marshal(p)
	if err != nil {
		return failed(err)
	}
	cmd.Env = append(os.Environ(), handOverEnv+"="+string(text))
	if err := cmd.Start(); err != nil {
		return failed(err)
	}
	readyW.Close() // the successor's end is the only one left: it ends with that
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()

	_ = readyR.SetReadDeadline(time.Now().Add(handOverTimeout))
	stop := context.AfterFunc(ctx, func() { _ = readyR.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := readyR.Read(make([]byte, 1)); err != nil {
		_ = cmd.Process.Kill()
		return failed(fmt.Errorf("the new process is not ready: %w", errors.Join(err, <-exited)))
	}
	return &Successor{cmd.Process.Pid, releasedW, settledR, aliveW}, nil
}

// Release tells the successor that this process has let go of what only one of them can
// have. The end of this process does so too. It may be called more than once.
func (s *Successor) Release() { s.released.Close() }

// AwaitSettled waits until the successor has opened all its sockets, or has ended. It may
// be called once.
func (s *Successor) AwaitSettled(ctx context.Context) error {
	defer s.settled.Close()
	if err := awaitEnd(ctx, s.settled); err != nil {
		return fmt.Errorf("wait for the sockets of the new process: %w", err)
	}
	return nil
}

// binaryPath is where the binary lies that this process was started from: the file may
// have been replaced since, which the kernel's own name of it does not tell.
func binaryPath() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// HangUps returns a channel of SIGHUPs, which end the process no more until stop is called.
func HangUps() (hangUps <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
