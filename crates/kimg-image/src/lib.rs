//! OCI image configs, manifests, indexes and layouts, the same bytes every time.
