package probe

// Measure looks at the file system of path once, and judges it by the limits
// of the health check disk. What is wrong is empty where nothing is; else it
// says how much there is.
func Measure(path string) (d Disk, wrong string) {
	d = readDisk(path)
	bad, _, text := New(Config{}).short(d)
	if !bad {
		return d, ""
	}
	return d, text
}
