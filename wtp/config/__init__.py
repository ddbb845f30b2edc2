"""Settings: what there is (`schema`) and where it comes from (`load`)."""
