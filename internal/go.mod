module github.com/fsagent/fsagent/internal

go 1.26.0
