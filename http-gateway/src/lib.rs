//! HTTP ingest, metrics and the page.
