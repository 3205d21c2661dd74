package demo

import (
	"image"
	"image/color"
	"math"
)

// watershed draws the map of an invented country: heights in steps of colour, with
// contour lines. Its few colours suit PNG.
func watershed(width, height int) image.Image {
	const steps = 14
	low, middle, high := hex(0x0e5c6b), hex(0x7fb59a), hex(0xf6ecd2)
	palette := make(color.Palette, 0, 2*steps)
	for i := range steps {
		t := float64(i) / (steps - 1)
		c := low.mix(middle, clamp(t*2)).mix(high, clamp(t*2-1))
		palette = append(palette, c.rgba(), c.mix(rgb{0, 0.12, 0.14}, 0.35).rgba())
	}
	heights := make([]float64, (width+1)*(height+1))
	for y := range height + 1 {
		for x := range width + 1 {
			u, v := float64(x)/float64(height)*3.2, float64(y)/float64(height)*3.2
			// Bending the plane by noise makes valleys wind.
			bend := fractal(u+9, v+4, 3, 83) * 1.6
			z := fractal(u+bend, v-bend, 6, 97)
			heights[y*(width+1)+x] = clamp((z-0.22)/0.56) * (steps - 0.001)
		}
	}
	img := image.NewPaletted(image.Rect(0, 0, width, height), palette)
	for y := range height {
		for x := range width {
			at := y*(width+1) + x
			step := math.Floor(heights[at])
			index := int(step) * 2
			if math.Floor(heights[at+1]) != step || math.Floor(heights[at+width+1]) != step {
				index++ // a contour line
			}
			img.SetColorIndex(x, y, uint8(index))
		}
	}
	return img
}

// icon is a drop of water on a transparent ground.
func icon(size int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, size, size))
	const samples = 4 // in each direction, for smooth edges
	light, deep := hex(0x5cc8d8), hex(0x0b6f86)
	for y := range size {
		for x := range size {
			inside := 0
			for s := range samples * samples {
				u := (float64(x) + (float64(s%samples)+0.5)/samples) / float64(size)
				v := (float64(y) + (float64(s/samples)+0.5)/samples) / float64(size)
				if inDrop(u, v) {
					inside++
				}
			}
			c := light.mix(deep, float64(y)/float64(size)).rgba()
			img.SetNRGBA(x, y, color.NRGBA{c.R, c.G, c.B, uint8(255 * inside / (samples * samples))})
		}
	}
	return img
}

// inDrop tells whether a point of the unit square lies in the drop: a circle with
// two tangents that meet above it.
func inDrop(u, v float64) bool {
	const cx, cy, r, tip = 0.5, 0.62, 0.32, 0.04
	if math.Hypot(u-cx, v-cy) < r {
		return true
	}
	reach := cy - tip
	touch := cy - r*r/reach // where the tangents meet the circle
	if v < tip || v > touch {
		return false
	}
	half := math.Sqrt(r*r-(cy-touch)*(cy-touch)) * (v - tip) / (touch - tip)
	return math.Abs(u-cx) < half
}
