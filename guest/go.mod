module github.com/caxton/caxton/guest

go 1.24
