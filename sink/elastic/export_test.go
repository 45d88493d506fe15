package elastic

// Murmur3 is what a routing is hashed by.
var Murmur3 = murmur3
