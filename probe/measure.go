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

// Room says in words what is free of d.
func (d Disk) Room() string { return size(d.Free) + " of " + size(d.Size) + " free" }
