//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// servePlain is the barest server: it reads a request line, skips the fields, and sends
// the file that it names with sendfile, which io.Copy to a TCP connection is. where is
// a directory and an address.
func servePlain(where string) error {
	dir, addr, _ := strings.Cut(where, "@")
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			from := bufio.NewReader(conn)
			for sendPlain(conn, from, dir) == nil {
			}
		}()
	}
}

func sendPlain(to io.Writer, from *bufio.Reader, dir string) error {
	line, err := from.ReadString('\n')
	if err != nil {
		return err
	}
	for {
		field, err := from.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(field) <= 2 {
			break
		}
	}
	_, target, _ := strings.Cut(line, " ")
	target, _, _ = strings.Cut(target, " ")
	file, err := os.Open(filepath.Join(dir, filepath.Base(target)))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(to, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", info.Size()); err != nil {
		return err
	}
	_, err = io.Copy(to, file)
	return err
}
