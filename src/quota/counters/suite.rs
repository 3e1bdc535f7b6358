//! What every form of the counters must do, written once against the trait.
