package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"freshet/origin/blob"
	"freshet/origin/object"
)

// DefaultParallel is how many files are under way at the same time unless it is said.
const DefaultParallel = 8

// copyBuffer is how much of a file is read at a time.
const copyBuffer = 128 << 10

// Config is what a Publisher needs.
type Config struct {
	Origin   string // URL of the origin: http(s)://host:port
	Token    string // the bearer token
	Parallel int    // files under way at the same time; 0 means DefaultParallel
	// Progress, unless nil, is called as a push goes on: from several goroutines, one
	// call at a time. It must not block.
	Progress func(Progress)
}

// Publisher pushes to one origin. It may be used from several goroutines.
type Publisher struct {
	api      *api
	parallel int
	progress func(Progress)
}

// New connects to nothing yet. It fails on an Origin that is no such URL.
func New(cfg Config) (*Publisher, error) {
	if cfg.Parallel <= 0 {
		cfg.Parallel = DefaultParallel
	}
	api, err := newAPI(cfg.Origin, cfg.Token, cfg.Parallel)
	if err != nil {
		return nil, err
	}
	return &Publisher{api: api, parallel: cfg.Parallel, progress: cfg.Progress}, nil
}

// Close releases idle connections.
func (p *Publisher) Close() { p.api.http.CloseIdleConnections() }

// Options are those of one push.
type Options struct {
	DryRun       bool   // find out what would be done, and do nothing
	CacheControl string // kept with every object; empty: the origin's own default
}

// Push makes the objects of a site equal to the files of src and leaves its other
// objects alone. It blocks until every file is settled. A file that fails is in the
// report; the error is for what ends the push as a whole: ErrDenied, ErrNoSite,
// ErrRefused, the end of ctx, an origin that cannot be reached from the start. The
// report is never nil, since what was pushed before is pushed.
func (p *Publisher) Push(ctx context.Context, site string, src *Source, opts Options) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTransfer(p, site, src, opts)
	if err := t.survey(ctx); err != nil {
		return t.report, err
	}
	turns := make(chan int)
	var workers sync.WaitGroup
	for range min(p.parallel, len(src.files)) {
		workers.Go(func() {
			buf := make([]byte, copyBuffer)
			for i := range turns {
				if err := t.settle(ctx, i, buf); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range src.files {
		select {
		case turns <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(turns)
	workers.Wait()
	return t.report, context.Cause(ctx)
}

// transfer is one push under way.
type transfer struct {
	*Publisher
	site   string
	src    *Source
	opts   Options
	stored map[string]object.Info // what the origin has of the source's paths
	report *Report                // each worker writes the results of its own files

	mu struct {
		sync.Mutex
		Progress
	}
}

func newTransfer(p *Publisher, site string, src *Source, opts Options) *transfer {
	opts.CacheControl = strings.TrimSpace(opts.CacheControl) // as the origin keeps it
	t := &transfer{Publisher: p, site: site, src: src, opts: opts, stored: make(map[string]object.Info)}
	t.report = &Report{Site: site, DryRun: opts.DryRun, Files: make([]Result, len(src.files))}
	for i, f := range src.files {
		t.report.Files[i] = Result{Path: f.path, Size: f.size, Outcome: Skipped}
		t.mu.Bytes += f.size
	}
	t.mu.Files = int64(len(src.files))
	return t
}

// survey asks the origin what it has.
func (t *transfer) survey(ctx context.Context) error {
	files := t.src.files
	prefix, limit := commonPrefix(files[0].path, files[len(files)-1].path), object.MaxList
	if len(files) == 1 {
		limit = 1 // lists are sorted: a path comes before all that it is a prefix of
	}
	wanted := make(map[string]bool, len(files))
	for _, f := range files {
		wanted[f.path] = true
	}
	for after := ""; ; {
		var page object.List
		err := retry(ctx, func() (err error) {
			page, err = t.api.list(ctx, t.site, prefix, after, limit)
			return err
		})
		if err != nil {
			return fmt.Errorf("ask %s what site %s has: %w", t.api.base.Host, t.site, err)
		}
		for _, info := range page.Objects {
			if wanted[info.Path] {
				t.stored[info.Path] = info
			}
		}
		// An origin that does not move on would keep us here for ever.
		if page.Next <= after || len(files) == 1 {
			return nil
		}
		after = page.Next
	}
}

// commonPrefix is what the first and the last of sorted paths, and so all of them,
// start with, in whole characters.
func commonPrefix(first, last string) string {
	for i, c := range first {
		if len(last) < i+len(string(c)) || last[i:i+len(string(c))] != string(c) {
			return first[:i]
		}
	}
	return first
}

// settle brings one file to its end and writes its result. The error is one that
// ends the whole push.
func (t *transfer) settle(ctx context.Context, i int, buf []byte) error {
	f, result := t.src.files[i], &t.report.Files[i]
	digest, err := t.hash(ctx, f, buf)
	if err == nil {
		result.Digest = digest
		result.Outcome, err = t.compare(ctx, f, digest)
	}
	if err != nil {
		if ctx.Err() != nil { // ended, perhaps by another file: this one is not at fault
			result.Outcome = Skipped
			return nil
		}
		result.Outcome, result.Error = Failed, err.Error()
	}
	t.settled(f, result)
	if errors.Is(err, ErrDenied) || errors.Is(err, ErrNoSite) || errors.Is(err, ErrRefused) {
		return err
	}
	return nil
}

// compare sends the file if it differs from what the origin has.
func (t *transfer) compare(ctx context.Context, f file, digest blob.Digest) (Outcome, error) {
	info, there := t.stored[f.path]
	switch {
	case there && info.Digest == digest && info.Headers["Cache-Control"] == t.opts.CacheControl:
		return Unchanged, nil
	case t.opts.DryRun && there:
		return Replaced, nil
	case t.opts.DryRun:
		return Created, nil
	}
	answer, created, err := t.send(ctx, f, digest)
	switch {
	case err != nil:
		return Failed, err
	case answer.Digest != digest:
		return Failed, fmt.Errorf("the origin has stored other content: sha-256 %s, not %s", answer.Digest, digest)
	case created:
		return Created, nil
	case answer.Changed:
		return Replaced, nil
	case there:
		// An earlier attempt has done it, whose answer was lost.
		return Replaced, nil
	}
	return Created, nil
}

// send uploads one file, with retries.
func (t *transfer) send(ctx context.Context, f file, digest blob.Digest) (answer object.Put, created bool, err error) {
	err = retry(ctx, func() error {
		body, err := t.src.open(f)
		if err != nil {
			return err
		}
		defer body.Close()
		counted := &countedBody{Reader: body, t: t}
		answer, created, err = t.api.put(ctx, t.site, f.path, counted, f.size, digest, t.opts.CacheControl)
		counted.finish(err == nil)
		var refusal *Error
		if errors.As(err, &refusal) && refusal.Status == http.StatusBadRequest {
			// The path was checked before: it must be the digest.
			if now, hashErr := t.hash(ctx, f, make([]byte, copyBuffer)); hashErr != nil || now != digest {
				return errChanged
			}
		}
		return err
	})
	return answer, created, err
}

// hash reads a file through.
func (t *transfer) hash(ctx context.Context, f file, buf []byte) (digest blob.Digest, err error) {
	body, err := t.src.open(f)
	if err != nil {
		return blob.Digest{}, err
	}
	defer body.Close()
	sum := sha256.New()
	for {
		n, err := body.Read(buf)
		sum.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return blob.Digest{}, err
		}
	}
	sum.Sum(digest[:0])
	return digest, nil
}

// moved reports bytes under way.
func (t *transfer) moved(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.BytesDone += n
	t.mu.Last = nil
	if t.progress != nil {
		t.progress(t.mu.Progress)
	}
}

// settled reports a file that has its outcome.
func (t *transfer) settled(f file, result *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.FilesDone++
	if t.opts.DryRun || result.Outcome == Unchanged || result.Outcome == Failed {
		t.mu.BytesDone += f.size // else they were counted as they went
	}
	t.mu.Last = result
	if t.progress != nil {
		t.progress(t.mu.Progress)
	}
}

// countedBody tells how much of a file has gone out. What a failed attempt has sent
// is taken back.
type countedBody struct {
	io.Reader
	t    *transfer
	sent int64
	mu   sync.Mutex // net/http may still be reading when it has returned an answer
	done bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return 0, io.ErrClosedPipe
	}
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.sent += int64(n)
		b.t.moved(int64(n))
	}
	return n, err
}

func (b *countedBody) finish(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	if !ok {
		b.t.moved(-b.sent)
	}
}
