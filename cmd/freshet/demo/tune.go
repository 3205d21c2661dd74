package demo

import (
	"encoding/binary"
	"io"
	"math"
	"math/cmplx"
)

// Shape of the recording: stereo, 16 bits a sample.
const (
	sampleRate  = 44100
	tuneSeconds = 20
	channels    = 2
)

// writeTune writes a WAV file: a slow walk over a pentatonic scale, plucked, with
// an echo that changes sides, over two low chords.
func writeTune(w io.Writer) error {
	left := make([]float64, sampleRate*tuneSeconds)
	right := make([]float64, len(left))
	scale := []int{0, 3, 5, 7, 10, 12, 15, 17, 19, 22} // semitones above the root
	const root = 196.0                                 // the G below middle C, in Hz
	const beat = 0.25                                  // seconds
	at := 4
	for i := 0; float64(i)*beat < tuneSeconds-3; i++ {
		step := int(hash(i, 1, 5)%5) - 2
		at = min(max(at+step, 0), len(scale)-1)
		if i%8 != 0 && chance(i, 2, 5) < 0.28 {
			continue // a rest
		}
		pitch := root * math.Exp2(float64(scale[at])/12)
		begin := float64(i) * beat
		side := 0.35 + 0.3*chance(i, 3, 5)
		pluck(left, begin, pitch, 0.30*side)
		pluck(right, begin, pitch, 0.30*(1-side))
		pluck(right, begin+0.375, pitch, 0.10*side)
		pluck(left, begin+0.75, pitch, 0.06*(1-side))
	}
	for i, chord := range [][]int{{-12, -5, 3}, {-14, -7, 2}, {-12, -5, 3}, {-17, -10, 0}, {-12, -5, 3}} {
		for _, semitone := range chord {
			pad(left, float64(i)*4, 5, root*math.Exp2(float64(semitone)/12)*0.999, 0.045)
			pad(right, float64(i)*4, 5, root*math.Exp2(float64(semitone)/12)*1.001, 0.045)
		}
	}
	return writeWAV(w, left, right)
}

// pluck adds a struck string: overtones that die the faster the higher they are.
func pluck(to []float64, begin, pitch, volume float64) {
	const attack = sampleRate / 400
	first := int(begin * sampleRate)
	end := min(len(to), first+2*sampleRate)
	for k := 1.0; k <= 4; k++ {
		wave := complex(volume/(k*k), 0)
		turn := cmplx.Rect(math.Exp(-(2+1.7*k)/sampleRate), 2*math.Pi*pitch*k/sampleRate)
		for i := first; i < end; i++ {
			to[i] += imag(wave) * min(1, float64(i-first)/attack)
			wave *= turn
		}
	}
}

// pad adds a held tone that swells and fades.
func pad(to []float64, begin, length, pitch, volume float64) {
	first := int(begin * sampleRate)
	end := min(len(to), first+int(length*sampleRate))
	swell, rise := complex(volume/2, 0), cmplx.Rect(1, 2*math.Pi/(length*sampleRate))
	wave, turn := complex(1, 0), cmplx.Rect(1, 2*math.Pi*pitch/sampleRate)
	for i := first; i < end; i++ {
		octave := wave * wave
		to[i] += (volume/2 - real(swell)) * (imag(wave) + 0.3*imag(octave))
		swell *= rise
		wave *= turn
	}
}

// writeWAV writes the RIFF header and the samples, interleaved.
func writeWAV(w io.Writer, left, right []float64) error {
	const frame = channels * 2
	size := len(left) * frame
	b := make([]byte, 0, 44+size)
	le := binary.LittleEndian
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(36+size))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16) // length of what follows
	b = le.AppendUint16(b, 1)  // linear samples
	b = le.AppendUint16(b, channels)
	b = le.AppendUint32(b, sampleRate)
	b = le.AppendUint32(b, sampleRate*frame)
	b = le.AppendUint16(b, frame)
	b = le.AppendUint16(b, 16) // bits a sample
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(size))
	for i := range left {
		fade := clamp(float64(len(left)-i) / (2 * sampleRate))
		b = le.AppendUint16(b, uint16(int16(math.Tanh(left[i])*fade*32000)))
		b = le.AppendUint16(b, uint16(int16(math.Tanh(right[i])*fade*32000)))
	}
	_, err := w.Write(b)
	return err
}
