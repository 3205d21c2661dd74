package demo

import (
	"image"
	"math"
)

// hour is the lake at one time of the day: the light, and what is in the sky.
type hour struct {
	Slug, Title, Time string
	zenith, horizon   rgb     // the sky, above and at the hills
	hills             rgb     // the nearest hills
	sun               rgb     // the colour of sun or moon
	sunX, sunY        float64 // where it stands, in parts of the picture
	sunSize           float64 // its radius in parts of the picture's width; 0 for none
	clouds            float64 // how much of the sky they cover, 0 to 1
	stars             bool
}

// Path is where the picture stands in the site.
func (h hour) Path() string { return "/images/" + h.Slug + ".jpg" }

// hours are the pictures of the gallery.
var hours = []hour{
	{"first-light", "First light", "05:10", hex(0x24365f), hex(0xf2b79b), hex(0x14202f), hex(0xffd9b0), 0.68, 0.53, 0, 0.35, true},
	{"sunrise", "Sunrise", "06:05", hex(0x5b7fb0), hex(0xffc178), hex(0x23303a), hex(0xfff0c4), 0.66, 0.44, 0.030, 0.45, false},
	{"morning", "Morning", "08:30", hex(0x4c8fd0), hex(0xdff0f5), hex(0x1d4a3c), hex(0xfffbe6), 0.30, 0.16, 0.026, 0.40, false},
	{"noon", "Noon", "12:40", hex(0x2f7ccf), hex(0xcfe9f7), hex(0x1f5a3a), hex(0xffffff), 0.52, 0.08, 0.022, 0.22, false},
	{"before-rain", "Before rain", "15:20", hex(0x4d5a68), hex(0xb8c4c8), hex(0x22343a), hex(0xe8eef0), 0.40, 0.20, 0, 0.95, false},
	{"golden-hour", "Golden hour", "18:15", hex(0x6b86b8), hex(0xffd083), hex(0x3a2a22), hex(0xfff1b8), 0.24, 0.42, 0.032, 0.35, false},
	{"afterglow", "Afterglow", "19:30", hex(0x2d2a5a), hex(0xf0707a), hex(0x191a2c), hex(0xffb0a0), 0.22, 0.52, 0, 0.50, true},
	{"moonlight", "Moonlight", "23:50", hex(0x070d20), hex(0x2a4468), hex(0x060b14), hex(0xeaf2ff), 0.62, 0.17, 0.021, 0.25, true},
}

// Geometry of the scene, in parts of the picture's height.
const (
	shore  = 0.62 // where the water begins
	ranges = 5    // of hills, one behind the other
)

// scenery is what all hours share: shapes, without light.
type scenery struct {
	width, height int
	waterline     int
	clouds        []float32     // for each pixel of the sky, how dense
	crests        [ranges][]int // for each column, the row in which a range begins
	ripples       []float32     // for each pixel of the water, -0.5 to 0.5
}

func newScenery(width, height int) *scenery {
	s := &scenery{width: width, height: height, waterline: int(shore * float64(height))}
	w := float64(width)
	for y := range s.waterline {
		// Clouds lie flatter the nearer they are to the horizon.
		depth := float64(y) / float64(s.waterline)
		for x := range width {
			density := fractal(float64(x)/w*5, depth*(1.5+9*depth)+3, 5, 23)
			s.clouds = append(s.clouds, float32(density))
		}
	}
	for i := range s.crests {
		s.crests[i] = make([]int, width)
		for x := range width {
			s.crests[i][x] = max(0, s.waterline-int(s.peak(i, float64(x)/w)*float64(height)))
		}
	}
	for y := s.waterline; y < height; y++ {
		// Ripples are seen at a flat angle: long across, short in depth.
		near := s.near(y)
		along := 28 * math.Log(1+9*near)
		for x := range width {
			ripple := fractal(float64(x)/w*(60-44*near), along, 3, 71) - 0.5
			s.ripples = append(s.ripples, float32(ripple))
		}
	}
	return s
}

// near is how near a row of the water is: 0 at the far shore, 1 at the viewer.
func (s *scenery) near(y int) float64 {
	return float64(y-s.waterline) / float64(s.height-s.waterline)
}

// peak is how far range i rises above the water at u, in parts of the height.
func (s *scenery) peak(i int, u float64) float64 {
	near := float64(i) / (ranges - 1)
	rise := fractal(u*(2.2+1.5*near)+float64(i)*7.3, 0.5, 6, 41+uint32(i))
	// The nearest banks open towards the middle, where the stream comes in.
	gap := 1 - near*0.92*math.Exp(-math.Pow((u-0.52)/(0.10+0.16*near), 2))
	peak := (0.34 - 0.17*near) * (0.35 + rise) * gap
	if i >= ranges-2 {
		peak += pines(u*float64(s.width)/float64(s.height), i) * clamp(gap*1.6-0.6)
	}
	return peak
}

// lake paints the scene at one hour: sky, ranges of hills with pines on the nearest,
// and water that mirrors them.
func lake(s *scenery, h hour) *image.RGBA {
	width, height := s.width, s.height
	scene := make([]rgb, width*height)
	paintSky(scene, s, h)
	for i := range ranges {
		paintRange(scene, s, h, i)
	}
	paintWater(scene, s, h)
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			// A grain of less than one step of a channel keeps gradients from banding.
			grain := (chance(x, y, 7) - 0.5) / 255
			c := scene[y*width+x].add(rgb{1, 1, 1}, grain).rgba()
			copy(img.Pix[img.PixOffset(x, y):], []byte{c.R, c.G, c.B, c.A})
		}
	}
	return img
}

func paintSky(scene []rgb, s *scenery, h hour) {
	w, sx, sy := float64(s.width), h.sunX*float64(s.width), h.sunY*float64(s.height)
	lit := h.horizon.mix(h.sun, 0.6)
	for y := range s.waterline {
		depth := float64(y) / float64(s.waterline)
		sky := h.zenith.mix(h.horizon, math.Pow(depth, 1.5))
		for x := range s.width {
			distance := math.Hypot(float64(x)-sx, float64(y)-sy) / w
			c := sky.add(h.sun, 0.45*math.Exp(-distance*9)*h.sun.r)
			if h.stars && chance(x, y, 11) > 0.9988 {
				c = c.add(rgb{1, 1, 1}, (1-depth)*(1-depth)*chance(x, y, 12))
			}
			if h.sunSize > 0 {
				c = c.mix(h.sun, clamp((h.sunSize-distance)*w/2))
			}
			density := float64(s.clouds[y*s.width+x])
			cover := clamp((density - (0.72 - 0.4*h.clouds)) * 3.2)
			shade := lit.mix(h.zenith, 0.35+0.5*clamp((density-0.5)*2.5)*h.clouds)
			scene[y*s.width+x] = c.mix(shade, cover*0.75)
		}
	}
}

// paintRange paints one range of hills; 0 is the farthest.
func paintRange(scene []rgb, s *scenery, h hour, i int) {
	near := float64(i) / (ranges - 1)
	haze := h.horizon.mix(h.zenith, 0.25)
	top := haze.mix(h.hills, 0.18+0.82*math.Pow(near, 1.3))
	foot := top.mix(haze, 0.45*(1-near*0.6)) // mist in the valleys
	for x, crest := range s.crests[i] {
		for y := crest; y < s.waterline; y++ {
			t := float64(y-crest) / float64(s.waterline-crest)
			scene[y*s.width+x] = top.mix(foot, t*t)
		}
	}
}

// pines is how far trees stand out of a bank at u, which is measured in heights of
// the picture.
func pines(u float64, bank int) float64 {
	const spacing = 0.012
	tallest := 0.0
	slot := int(u / spacing)
	for k := slot - 3; k <= slot+3; k++ {
		stem := (float64(k) + chance(k, bank, 61)) * spacing
		tall := (0.018 + 0.040*chance(k, bank, 62)) * (0.5 + 0.5*float64(bank)/ranges)
		off := math.Abs(u-stem) / (tall * 0.24) // 0 at the stem, 1 at the lowest twigs
		if off < 1 {
			tiers := math.Floor(off*5) / 5 // branches in steps
			tallest = math.Max(tallest, tall*(1-0.65*off-0.35*tiers))
		}
	}
	return tallest
}

// paintWater mirrors what stands above the waterline, broken by ripples that grow
// towards the viewer, with the sun's glitter on them.
func paintWater(scene []rgb, s *scenery, h hour) {
	w := float64(s.width)
	depths := h.zenith.mix(h.hills, 0.55)
	for y := s.waterline; y < s.height; y++ {
		near := s.near(y)
		below := y - s.waterline
		for x := range s.width {
			ripple := float64(s.ripples[below*s.width+x])
			mirrored := s.waterline - 1 - int(float64(below)*(1.25-0.35*near)+ripple*46*near)
			mirrored = min(max(mirrored, 0), s.waterline-1)
			drift := min(max(x+int(ripple*14*near), 0), s.width-1)
			c := scene[mirrored*s.width+drift].mix(depths, 0.12+0.38*near)
			if glint := clamp(ripple*5 - 0.35); glint > 0 && h.sunSize > 0 {
				spread := 0.02 + 0.10*near
				column := math.Exp(-math.Pow((float64(x)/w-h.sunX)/spread, 2))
				c = c.add(h.sun, column*glint*0.8)
			}
			scene[y*s.width+x] = c
		}
	}
}
