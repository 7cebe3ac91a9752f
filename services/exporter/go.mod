module github.com/fsagent/fsagent/services/exporter

go 1.26.0
