package h2

import (
	"encoding/binary"
	"errors"

	"golang.org/x/net/http2"

	"freshet/edge/listener/limits"
)

// frame reads one frame and does what it says. An error ends the connection.
func (c *conn) frame() error {
	c.in.phase = atBoundary
	if c.in.buffered() > 0 && !c.head.open {
		c.headAt = c.at
	}
	fh, err := c.framer.ReadFrameHeader()
	if err != nil {
		return c.readError(err)
	}
	if !c.settled && fh.Type != http2.FrameSettings {
		return connError{http2.ErrCodeProtocol, "the first frame is not SETTINGS"}
	}
	// The frequent ones are read in place; the Framer allocates each frame that it reads.
	switch fh.Type {
	case http2.FrameHeaders:
		return c.headers(fh)
	case http2.FrameContinuation:
		return c.continuation(fh)
	case http2.FrameData:
		return c.data(fh)
	case http2.FrameWindowUpdate:
		return c.windowUpdate(fh)
	case http2.FrameRSTStream:
		return c.rstStream(fh)
	}
	f, err := c.framer.ReadFrameForHeader(fh)
	if err != nil {
		if fh.Type == http2.FramePriority && fh.Length != 5 && fh.StreamID != 0 {
			return c.streamError(fh.StreamID, http2.ErrCodeFrameSize) // RFC 9113 §6.3
		}
		return c.readError(err)
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return c.streamError(f.StreamID, http2.ErrCodeProtocol)
		}
	case *http2.PriorityUpdateFrame:
		return c.priorityUpdate(f)
	case *http2.GoAwayFrame: // nothing changes for streams that the client has opened
	case *http2.PushPromiseFrame:
		return connError{http2.ErrCodeProtocol, "a client does not push"}
	}
	return c.control()
}

// readError makes of an error of the Framer's one that ends the connection.
func (c *conn) readError(err error) error {
	var e http2.ConnectionError
	if errors.As(err, &e) {
		why := "a malformed frame"
		if detail := c.framer.ErrorDetail(); detail != nil {
			why = detail.Error()
		}
		return connError{http2.ErrCode(e), why}
	}
	if errors.Is(err, http2.ErrFrameTooLarge) {
		return connError{http2.ErrCodeFrameSize, "a frame is too large"}
	}
	return err
}

// control counts a frame that costs us something and brings no request on.
func (c *conn) control() error {
	if c.controls.spend(c.at) {
		return nil
	}
	c.srv.limited(limits.Controls)
	return connError{http2.ErrCodeEnhanceYourCalm, "too many control frames"}
}

// reset counts a stream that the client has us give up, with RST_STREAM or by anything
// that makes us reset it.
func (c *conn) reset() error {
	if c.resets.spend(c.at) {
		return nil
	}
	c.srv.limited(limits.Resets)
	return connError{http2.ErrCodeEnhanceYourCalm, "too many resets"}
}

// streamError resets a stream for something that the client did.
func (c *conn) streamError(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id > c.mu.lastID || id%2 == 0 {
		return connError{code, "an error on a stream that is idle"} // there is nothing to reset (RFC 9113 §5.1)
	}
	return c.provoked(c.mu.streams[id], id, code)
}

// resetNow sends RST_STREAM. conn.mu is held.
func (c *conn) resetNow(id uint32, code http2.ErrCode) {
	c.mu.out = appendReset(c.output(), id, code)
	if c.mu.gaveUp == nil {
		c.mu.gaveUp = new([256]uint32)
	}
	c.mu.gaveUp[id/2%uint32(len(c.mu.gaveUp))] = id
}

// givenUp reports whether we have reset a stream so lately, or said that we do nothing for
// it, that frames which the client sent before it knew may still come (RFC 9113 §5.1,
// §6.8). conn.mu is held.
func (c *conn) givenUp(id uint32) bool {
	return c.mu.goAway == 2 && id > c.mu.last || c.mu.gaveUp != nil && c.mu.gaveUp[id/2%uint32(len(c.mu.gaveUp))] == id
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	first := !c.settled
	c.settled = true
	if f.IsAck() {
		c.acked = true
		return c.control()
	}
	if f.NumSettings() > 100 {
		return connError{http2.ErrCodeEnhanceYourCalm, "too many settings"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.mu.enc.resize(s.Val)
		case http2.SettingInitialWindowSize:
			return c.resizeWindows(int64(s.Val))
		case http2.SettingNoRFC7540Priorities:
			if s.Val > 1 {
				return connError{http2.ErrCodeProtocol, "a setting that is neither 0 nor 1"} // RFC 9218 §2.1
			}
		}
		return nil
	})
	if err != nil {
		return c.readError(err)
	}
	c.mu.out = appendFrame(c.output(), 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	if first {
		return nil
	}
	return c.control()
}

// resizeWindows obeys SETTINGS_INITIAL_WINDOW_SIZE, which changes the window of every
// stream and may make it negative (RFC 9113 §6.9.2).
func (c *conn) resizeWindows(size int64) error {
	change := size - c.mu.first
	c.mu.first = size
	for _, st := range c.mu.streams {
		if st.sentEnd { // its handler may not have returned yet
			continue
		}
		if st.window+change > maxWindow {
			return connError{http2.ErrCodeFlowControl, "settings make a window too large"}
		}
		st.window += change
		st.progress = c.at
	}
	return nil
}

func (c *conn) ping(f *http2.PingFrame) error {
	if f.IsAck() {
		c.mu.Lock()
		if c.mu.drainPing && f.Data == drainPing {
			c.mu.drainPing = false
			c.drainFinally()
		}
		c.mu.Unlock()
		return c.control()
	}
	c.mu.Lock()
	c.mu.out = appendPing(c.output(), http2.FlagPingAck, f.Data)
	c.mu.Unlock()
	return c.control()
}

func (c *conn) priorityUpdate(f *http2.PriorityUpdateFrame) error {
	id := f.PrioritizedStreamID
	if id%2 == 0 {
		return connError{http2.ErrCodeProtocol, "PRIORITY_UPDATE of a stream that cannot be"} // RFC 9218 §7.1
	}
	c.mu.Lock()
	if st := c.mu.streams[id]; st != nil {
		st.priority = parsePriority(f.Priority)
	} else if id > c.mu.lastID {
		// It may come before its request (RFC 9218 §7.1); a few are kept for that.
		c.early[c.earlyAt%len(c.early)] = earlyPriority{id, parsePriority(f.Priority)}
		c.earlyAt++
	}
	c.mu.Unlock()
	return c.control()
}

func (c *conn) windowUpdate(fh http2.FrameHeader) error {
	if fh.Length != 4 {
		return c.sized(fh, 4)
	}
	p, err := c.in.next(4)
	if err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.updates > 0 {
		c.mu.updates--
	} else if err := c.control(); err != nil {
		return err
	}
	if fh.StreamID == 0 {
		if n == 0 {
			return connError{http2.ErrCodeProtocol, "a WINDOW_UPDATE of nothing"}
		}
		if c.mu.window += n; c.mu.window > maxWindow {
			return connError{http2.ErrCodeFlowControl, "a window is too large"}
		}
		return nil
	}
	if fh.StreamID > c.mu.lastID || fh.StreamID%2 == 0 {
		return connError{http2.ErrCodeProtocol, "WINDOW_UPDATE of a stream that is idle"}
	}
	st := c.mu.streams[fh.StreamID]
	switch {
	case n == 0:
		return c.provoked(st, fh.StreamID, http2.ErrCodeProtocol)
	case st == nil || st.broken != nil || st.sentEnd: // ended a moment ago, perhaps
	case st.window+n > maxWindow:
		return c.provoked(st, fh.StreamID, http2.ErrCodeFlowControl)
	default:
		st.window += n
		st.progress = c.at
	}
	return nil
}

// provoked is streamError for those who hold conn.mu.
func (c *conn) provoked(st *stream, id uint32, code http2.ErrCode) error {
	if st != nil {
		c.abandon(st, code, errGone)
	} else {
		c.resetNow(id, code)
	}
	return c.reset()
}

func (c *conn) rstStream(fh http2.FrameHeader) error {
	if fh.Length != 4 {
		return c.sized(fh, 4)
	}
	if _, err := c.in.next(4); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if fh.StreamID > c.mu.lastID || fh.StreamID%2 == 0 {
		return connError{http2.ErrCodeProtocol, "RST_STREAM of a stream that is idle"}
	}
	if c.dropLate(fh.StreamID, 0, true) {
		return nil // it was answered: nothing is given up
	}
	if st := c.mu.streams[fh.StreamID]; st != nil {
		c.breakOff(st, errGone)
	}
	return c.reset()
}

// sized refuses a frame whose length its type does not have.
func (c *conn) sized(fh http2.FrameHeader, want int) error {
	return connError{http2.ErrCodeFrameSize, "a " + fh.Type.String() + " frame of a wrong length"}
}

func (c *conn) data(fh http2.FrameHeader) error {
	c.in.phase = inBody
	left, pad := int(fh.Length), 0
	if fh.StreamID == 0 {
		return connError{http2.ErrCodeProtocol, "DATA without a stream"}
	}
	if fh.Flags.Has(http2.FlagDataPadded) {
		p, err := c.in.next(min(1, left))
		if err != nil {
			return err
		}
		if left == 0 || int(p[0]) >= left {
			return connError{http2.ErrCodeProtocol, "more padding than frame"}
		}
		pad = int(p[0])
		left -= 1 + pad
	}
	end := fh.Flags.Has(http2.FlagDataEndStream)
	b, err := c.accept(fh, left)
	if err != nil {
		return err
	}
	refused := false
	for rest := left; rest > 0; {
		p, err := c.in.some(rest)
		if err != nil {
			return err
		}
		rest -= len(p)
		switch {
		case b == nil:
		case refused:
			c.freed.Add(int64(len(p)))
		case !b.take(p):
			refused = true
			if err := c.streamError(fh.StreamID, http2.ErrCodeProtocol); err != nil {
				return err
			}
		}
	}
	for pad > 0 {
		p, err := c.in.some(pad)
		if err != nil {
			return err
		}
		pad -= len(p)
	}
	if b != nil && !refused && end {
		if err := c.bodyDone(fh.StreamID); err != nil {
			return err
		}
	}
	if left == 0 && !end {
		return c.control()
	}
	return nil
}

// accept takes the bytes of a DATA frame into account, of which payload are content, and
// finds whom they are for: nil for nobody.
func (c *conn) accept(fh http2.FrameHeader, payload int) (*body, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(fh.Length)
	if c.mu.receive -= n; c.mu.receive < 0 {
		return nil, connError{http2.ErrCodeFlowControl, "more DATA than the connection's window"}
	}
	if fh.StreamID > c.mu.lastID || fh.StreamID%2 == 0 {
		return nil, connError{http2.ErrCodeProtocol, "DATA on a stream that is idle"}
	}
	st := c.mu.streams[fh.StreamID]
	switch {
	case c.dropLate(fh.StreamID, n, fh.Flags.Has(http2.FlagDataEndStream)), c.givenUp(fh.StreamID):
	case st == nil || st.broken != nil:
		c.allow(n)
		return nil, c.provoked(nil, fh.StreamID, http2.ErrCodeStreamClosed)
	case st.remoteDone:
		c.allow(n)
		return nil, c.provoked(st, fh.StreamID, http2.ErrCodeStreamClosed)
	case st.receive < n:
		c.allow(n)
		return nil, c.provoked(st, fh.StreamID, http2.ErrCodeFlowControl)
	default:
		st.receive -= n
		st.came += int64(payload)
		padding := n - int64(payload)
		c.allow(padding)
		st.allow(padding)
		return st.body, nil
	}
	c.allow(n)
	return nil, nil
}

// bodyDone ends the request of a stream.
func (c *conn) bodyDone(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.mu.streams[id]
	if st == nil || st.broken != nil || st.remoteDone {
		c.dropLate(id, 0, true) // it has been answered while the frame was read
		return nil
	}
	if !st.body.end() {
		return c.provoked(st, id, http2.ErrCodeProtocol) // RFC 9113 §8.1.1
	}
	c.remoteDone(st)
	return nil
}
