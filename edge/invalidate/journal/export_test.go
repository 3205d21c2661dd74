package journal

// AsVersion is a file as if it were of another version.
func AsVersion(data []byte, v uint32) []byte {
	data = append([]byte(nil), data...)
	le.PutUint32(data[8:], v)
	le.PutUint64(data[32:], sum(data[:32], le.Uint64(data[16:])))
	return data
}
