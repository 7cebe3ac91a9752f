module github.com/fsagent/fsagent/services/collector

go 1.26.0
