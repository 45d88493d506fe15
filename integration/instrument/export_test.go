package instrument

import "testing/fstest"

// Change writes the bugs with these files, by name, and the failpoints into a product.
func Change(product fstest.MapFS, files map[string]string) (map[string]string, []string, error) {
	bugs := make(map[string]Bug)
	for name, text := range files {
		b, err := parseBug(name, text)
		if err != nil {
			return nil, nil, err
		}
		bugs[name] = b
	}
	return change(product, bugs)
}
