package demo

import (
	"image/color"
	"math"
)

// hash spreads a point of a grid and a seed over 32 bits.
func hash(x, y int, seed uint32) uint32 {
	h := seed ^ uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca77
	h = (h ^ h>>15) * 0x2c1b3c6d
	h = (h ^ h>>12) * 0x297a2d39
	return h ^ h>>15
}

// chance is a number in [0, 1) for a point of a grid.
func chance(x, y int, seed uint32) float64 { return float64(hash(x, y, seed)) / (1 << 32) }

// noise is smooth over the plane, in [0, 1), with one feature a unit.
func noise(x, y float64, seed uint32) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	ix, iy := int(fx), int(fy)
	u, v := ease(x-fx), ease(y-fy)
	top := mix(chance(ix, iy, seed), chance(ix+1, iy, seed), u)
	bottom := mix(chance(ix, iy+1, seed), chance(ix+1, iy+1, seed), u)
	return mix(top, bottom, v)
}

// fractal sums octaves of noise, each with twice the features and half the height
// of the one before; it is in [0, 1).
func fractal(x, y float64, octaves int, seed uint32) float64 {
	sum, height, total := 0.0, 1.0, 0.0
	for o := range octaves {
		sum += height * noise(x, y, seed+uint32(o)*101)
		total += height
		x, y, height = x*2, y*2, height/2
	}
	return sum / total
}

func mix(a, b, t float64) float64 { return a + (b-a)*t }

// ease leads from 0 to 1 with no slope at the ends.
func ease(t float64) float64 { return t * t * (3 - 2*t) }

func clamp(t float64) float64 { return min(max(t, 0), 1) }

// rgb is a colour with channels in [0, 1].
type rgb struct{ r, g, b float64 }

// hex is a colour as it is written in a style sheet.
func hex(v uint32) rgb {
	return rgb{float64(v>>16&255) / 255, float64(v>>8&255) / 255, float64(v&255) / 255}
}

func (c rgb) mix(d rgb, t float64) rgb {
	return rgb{mix(c.r, d.r, t), mix(c.g, d.g, t), mix(c.b, d.b, t)}
}

// add lights c up by d.
func (c rgb) add(d rgb, t float64) rgb {
	return rgb{c.r + d.r*t, c.g + d.g*t, c.b + d.b*t}
}

func (c rgb) rgba() color.RGBA {
	return color.RGBA{byte(clamp(c.r)*255 + 0.5), byte(clamp(c.g)*255 + 0.5), byte(clamp(c.b)*255 + 0.5), 255}
}
