package mapping

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// appendGeometry appends MySQL's stored form of a geometry, srid:u32le | WKB, as GeoJSON. The stored coordinates are x, y;
// for geographic systems that is longitude, latitude, which is GeoJSON's order too.
func appendGeometry(dst, raw []byte) ([]byte, error) {
	if len(raw) < 4 {
		return dst, errors.New("a geometry shorter than its SRID")
	}
	g := wkb{rest: raw[4:], out: dst}
	g.geometry(0)
	if g.err == nil && len(g.rest) > 0 {
		g.err = fmt.Errorf("%d bytes follow the geometry", len(g.rest))
	}
	return g.out, g.err
}

// wkb reads well-known binary from rest and writes GeoJSON to out.
type wkb struct {
	rest []byte
	out  []byte
	err  error
}

// The kinds of geometries in well-known binary.
const (
	wkbPoint = iota + 1
	wkbLineString
	wkbPolygon
	wkbMultiPoint
	wkbMultiLineString
	wkbMultiPolygon
	wkbCollection
)

var geoJSONNames = [...]string{"", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection"}

// geometry reads order:u8 | type:u32 | content.
func (g *wkb) geometry(depth int) {
	kind := g.header()
	if g.err == nil && (kind < wkbPoint || kind > wkbCollection) {
		g.err = fmt.Errorf("geometry of the unknown kind %d", kind)
	}
	if depth > maxJSONDepth/2 {
		g.err = errors.New("a geometry nested too deeply")
	}
	if g.err != nil {
		return
	}
	g.out = append(g.out, `{"type":"`...)
	g.out = append(g.out, geoJSONNames[kind]...)
	if kind == wkbCollection {
		g.out = append(g.out, `","geometries":`...)
		g.list(func() { g.geometry(depth + 1) })
	} else {
		g.out = append(g.out, `","coordinates":`...)
		g.coordinates(kind)
	}
	g.out = append(g.out, '}')
}

func (g *wkb) coordinates(kind uint32) {
	switch kind {
	case wkbPoint:
		g.point()
	case wkbLineString:
		g.list(g.point)
	case wkbPolygon:
		g.list(func() { g.list(g.point) })
	case wkbMultiPoint, wkbMultiLineString, wkbMultiPolygon: // their members have headers of their own
		member := kind - wkbMultiPoint + wkbPoint
		g.list(func() {
			if got := g.header(); g.err == nil && got != member {
				g.err = fmt.Errorf("a %s in a %s", geoJSONNames[min(got, wkbCollection)], geoJSONNames[kind])
				return
			}
			g.coordinates(member)
		})
	}
}

// list reads count:u32 and that many elements.
func (g *wkb) list(element func()) {
	n := g.u32()
	if g.err == nil && uint64(n) > uint64(len(g.rest)) {
		g.err = errors.New("a geometry that ends too early")
	}
	g.out = append(g.out, '[')
	for i := uint32(0); i < n && g.err == nil; i++ {
		if i > 0 {
			g.out = append(g.out, ',')
		}
		element()
	}
	g.out = append(g.out, ']')
}

func (g *wkb) point() {
	g.out = append(g.out, '[')
	g.float()
	g.out = append(g.out, ',')
	g.float()
	g.out = append(g.out, ']')
}

func (g *wkb) header() uint32 {
	if order := g.take(1); g.err == nil && order[0] != 1 { // MySQL stores little endian only
		g.err = errors.New("a geometry that is not little endian")
	}
	return g.u32()
}

func (g *wkb) u32() uint32 {
	b := g.take(4)
	if g.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (g *wkb) float() {
	b := g.take(8)
	if g.err == nil {
		g.out, g.err = appendShortest(g.out, math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
	}
}

func (g *wkb) take(n int) []byte {
	if g.err == nil && len(g.rest) < n {
		g.err = errors.New("a geometry that ends too early")
	}
	if g.err != nil {
		return nil
	}
	b := g.rest[:n]
	g.rest = g.rest[n:]
	return b
}
