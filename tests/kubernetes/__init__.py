"""Tests of the Kubernetes manifests: compares Kustomize's output with the schemas and with the services."""
