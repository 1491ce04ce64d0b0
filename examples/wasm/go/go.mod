module example

go 1.24

require github.com/caxton/caxton/guest v0.0.0

replace github.com/caxton/caxton/guest => ../../../guest
