package response

import (
	"sort"
	"unsafe"
)

// Size is the RAM that the response holds, in bytes, as the Go heap has it: what it
// refers to, each part rounded up to what is set aside for it. The index of a holder is
// not counted, nor a body that lies elsewhere.
func (r *Response) Size() int64 {
	n := heapSize(int(unsafe.Sizeof(*r))) + heapSize(len(r.Key.Text)) + heapSize(len(r.ETag)) +
		heapSize(cap(r.Scopes)*int(unsafe.Sizeof(ScopeHash(0)))) + stringsSize(r.Vary) + stringsSize(r.Search.Params)
	if r.Pieces != nil {
		n += heapSize(cap(r.Pieces) * int(unsafe.Sizeof(Piece{})))
	}
	for _, p := range r.Pieces {
		n += heapSize(cap(p.Data))
	}
	if r.Header != nil {
		n += heapSize(r.Header.Size())
	}
	if r.Body != nil {
		n += heapSize(cap(r.Body.Bytes())) + int64(unsafe.Sizeof([]byte(nil))) // what the interface points to
	}
	return n
}

func stringsSize(list []string) int64 {
	n := heapSize(cap(list) * int(unsafe.Sizeof("")))
	for _, s := range list {
		n += heapSize(len(s))
	}
	return n
}

// sizeClasses are what the Go heap sets aside for small objects, in bytes. A test holds
// them to those of the runtime.
var sizeClasses = [...]int{
	0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416,
	448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200,
	3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384,
	18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768,
}

// heapPage is what larger objects are rounded up to, in bytes.
const heapPage = 8 << 10

// heapSize is what the heap sets aside for n bytes.
func heapSize(n int) int64 {
	if n > sizeClasses[len(sizeClasses)-1] {
		return int64(n+heapPage-1) &^ (heapPage - 1)
	}
	return int64(sizeClasses[sort.SearchInts(sizeClasses[:], n)])
}
