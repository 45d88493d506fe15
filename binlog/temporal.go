package binlog

import "time"

// Times are stored as big-endian integers, so that they sort as bytes. A fraction of n digits follows in (n+1)/2 bytes, as hundredths,
// ten-thousandths or millionths.

func fractionBytes(digits int) int { return (digits + 1) / 2 }

// appendFraction appends a stored fraction with its column's digits.
func appendFraction(dst []byte, fraction uint32, digits int) []byte {
	if digits == 0 {
		return dst
	}
	dst = append(dst, '.')
	stored := 2 * fractionBytes(digits)
	dst = appendDigits(dst, fraction, stored)
	return dst[:len(dst)-stored+digits]
}

func appendDate(dst []byte, year, month, day uint32) []byte {
	dst = append(appendDigits(dst, year, 4), '-')
	dst = append(appendDigits(dst, month, 2), '-')
	return appendDigits(dst, day, 2)
}

func appendClock(dst []byte, hour, minute, second uint32) []byte {
	dst = append(appendDigits(dst, hour, 2), ':')
	dst = append(appendDigits(dst, minute, 2), ':')
	return appendDigits(dst, second, 2)
}

// appendTime: sign:1 (inverted) unused:1 hour:10 minute:6 second:6, then the fraction; the whole is a two's complement.
func appendTime(out, b []byte, digits int) []byte {
	shift := 8 * (len(b) - 3)
	v := int64(big(b)) - 0x800000<<shift
	if v < 0 {
		out = append(out, '-')
		v = -v
	}
	hms := uint32(v >> shift)
	out = appendClock(out, hms>>12&0x3ff, hms>>6&0x3f, hms&0x3f)
	return appendFraction(out, uint32(v&(1<<shift-1)), digits)
}

// appendDateTime: sign:1 (set) year*13+month:17 day:5 hour:5 minute:6 second:6, then the fraction.
func appendDateTime(out, b []byte, digits int) []byte {
	v := big(b[:5]) & (1<<39 - 1)
	yearMonth := uint32(v >> 22)
	out = appendDate(out, yearMonth/13, yearMonth%13, uint32(v>>17&31))
	out = append(out, ' ')
	out = appendClock(out, uint32(v>>12&31), uint32(v>>6&63), uint32(v&63))
	return appendFraction(out, uint32(big(b[5:])), digits)
}

// appendTimestamp: seconds since 1970:32, then the fraction; printed in UTC. 0 is the zero time; with a
// fraction it is the first second of 1970, which only MariaDB stores.
func appendTimestamp(out, b []byte, digits int) []byte {
	seconds, fraction := int64(big(b[:4])), uint32(big(b[4:]))
	if seconds == 0 && fraction == 0 {
		out = append(out, "0000-00-00 00:00:00"...)
	} else {
		t := time.Unix(seconds, 0).UTC()
		year, month, day := t.Date()
		hour, minute, second := t.Clock()
		out = append(appendDate(out, uint32(year), uint32(month), uint32(day)), ' ')
		out = appendClock(out, uint32(hour), uint32(minute), uint32(second))
	}
	return appendFraction(out, fraction, digits)
}
