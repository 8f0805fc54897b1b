//! Random points that are the same in each run.

pub(crate) struct Numbers(pub u64);

impl Numbers {
    /// Knuth's linear congruential generator (The Art of Computer Programming, 3.3.4, table 1).
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}
