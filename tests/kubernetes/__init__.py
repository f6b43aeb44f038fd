"""The manifests for Kubernetes: what Kustomize makes of them, against the schemas and against the services themselves."""
