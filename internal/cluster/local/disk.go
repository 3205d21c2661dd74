package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"freshet/internal/cluster"
)

// fileName is the file within Config.Dir: three buckets, numbers big-endian.
//
//	pairs   key           -> version (8 bytes), value
//	tokens  election name -> token (8 bytes)
//	meta    "last"        -> version that was given out last (8 bytes)
const fileName = "cluster.db"

// lockWait is how long openDisk waits for another process to let go of the file.
const lockWait = time.Second

var (
	pairsBucket  = []byte("pairs")
	tokensBucket = []byte("tokens")
	metaBucket   = []byte("meta")
	lastKey      = []byte("last")
)

// disk keeps pairs and tokens in a file; each change is synced before the method
// returns. A nil disk keeps nothing. Its owner calls one method at a time.
type disk struct{ db *bbolt.DB }

// held is what a file had when it was opened.
type held struct {
	pairs  map[string]cluster.Pair
	tokens map[string]uint64
	last   uint64
}

func openDisk(dir string) (*disk, *held, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, fileName), 0o600, &bbolt.Options{Timeout: lockWait})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, nil, fmt.Errorf("%s is in use by another process", fileName)
	}
	if err != nil {
		return nil, nil, err
	}
	h := &held{pairs: make(map[string]cluster.Pair), tokens: make(map[string]uint64)}
	if err := db.Update(h.load); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return &disk{db}, h, nil
}

// load makes the buckets that are missing and reads what is there.
func (h *held) load(tx *bbolt.Tx) error {
	for _, name := range [][]byte{pairsBucket, tokensBucket, metaBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if last := tx.Bucket(metaBucket).Get(lastKey); len(last) == 8 {
		h.last = binary.BigEndian.Uint64(last)
	}
	err := tx.Bucket(pairsBucket).ForEach(func(key, record []byte) error {
		if len(record) < 8 {
			return fmt.Errorf("record of key %q is damaged", key)
		}
		version := binary.BigEndian.Uint64(record)
		h.last = max(h.last, version)
		// What bbolt hands out is only valid within the transaction.
		h.pairs[string(key)] = cluster.Pair{Key: string(key), Value: append([]byte{}, record[8:]...), Version: version}
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Bucket(tokensBucket).ForEach(func(name, token []byte) error {
		if len(token) != 8 {
			return fmt.Errorf("token of election %q is damaged", name)
		}
		h.tokens[string(name)] = binary.BigEndian.Uint64(token)
		return nil
	})
}

func (d *disk) put(pair cluster.Pair) error {
	if d == nil {
		return nil
	}
	return d.db.Update(func(tx *bbolt.Tx) error {
		version := binary.BigEndian.AppendUint64(nil, pair.Version)
		if err := tx.Bucket(metaBucket).Put(lastKey, version); err != nil {
			return err
		}
		return tx.Bucket(pairsBucket).Put([]byte(pair.Key), append(version, pair.Value...))
	})
}

func (d *disk) remove(key string) error {
	if d == nil {
		return nil
	}
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(pairsBucket).Delete([]byte(key)) })
}

func (d *disk) putToken(name string, token uint64) error {
	if d == nil {
		return nil
	}
	return d.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(tokensBucket).Put([]byte(name), binary.BigEndian.AppendUint64(nil, token))
	})
}

func (d *disk) close() error { return d.db.Close() }
