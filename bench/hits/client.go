//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// result is what a load came to.
type result struct {
	bytes    int64
	requests int
	took     time.Duration
}

// load asks for a file over and over, on some connections, for a time.
func load(addr, name string, length time.Duration, conns int) (all result, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	for range conns {
		wg.Go(func() {
			n, requests, e := ask(addr, name, begun.Add(length))
			mu.Lock()
			defer mu.Unlock()
			all.bytes, all.requests, err = all.bytes+n, all.requests+requests, errors.Join(err, e)
		})
	}
	wg.Wait()
	all.took = time.Since(begun)
	return all, err
}

// ask is one connection. Bodies are thrown away in the kernel, so that the client is
// not what is measured.
func ask(addr, name string, until time.Time) (sum int64, requests int, err error) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its CPU
	if err := pin(); err != nil {
		return 0, 0, err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, 0, err
	}
	file, err := conn.(*net.TCPConn).File() // blocking
	conn.Close()
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	request := []byte("GET /" + name + " HTTP/1.1\r\nHost: bench.example\r\n\r\n")
	for time.Now().Before(until) {
		if _, err := file.Write(request); err != nil {
			return sum, requests, err
		}
		n, err := skipAnswer(file)
		if err != nil {
			return sum, requests, err
		}
		sum, requests = sum+n, requests+1
	}
	return sum, requests, nil
}

// pin keeps the thread off the servers' CPU, where there is another.
func pin() error {
	if runtime.NumCPU() < 2 {
		return nil
	}
	var set [16]uint64
	for cpu := 1; cpu < min(runtime.NumCPU(), 64*len(set)); cpu++ {
		set[cpu/64] |= 1 << (cpu % 64)
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return fmt.Errorf("pin the client: %w", errno)
	}
	return nil
}

// skipAnswer reads one answer and returns the length of its body.
func skipAnswer(file *os.File) (int64, error) {
	var buf [4096]byte
	have := 0
	for {
		n, err := file.Read(buf[have:])
		if err != nil {
			return 0, err
		}
		have += n
		i := bytes.Index(buf[:have], []byte("\r\n\r\n"))
		if i < 0 {
			continue
		}
		head := buf[:i]
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
			return 0, fmt.Errorf("answer %q", head)
		}
		_, field, _ := bytes.Cut(head, []byte("Content-Length: "))
		field, _, _ = bytes.Cut(field, []byte("\r\n"))
		length, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("answer %q: %w", head, err)
		}
		return length, discard(file, length-int64(have-i-4))
	}
}

// discard drops n bytes of a connection without copying them (tcp(7), MSG_TRUNC).
func discard(file *os.File, n int64) error {
	var buf [8]byte
	for n > 0 {
		got, _, errno := syscall.Syscall6(syscall.SYS_RECVFROM, file.Fd(), uintptr(unsafe.Pointer(&buf)),
			uintptr(min(n, mib)), syscall.MSG_TRUNC, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return errno
		case got == 0:
			return io.ErrUnexpectedEOF
		default:
			n -= int64(got)
		}
	}
	return nil
}
