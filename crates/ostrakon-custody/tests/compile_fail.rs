//! What the compiler must refuse: every way to a shard that leaves the ledger out.

#[test]
fn there_is_no_way_around_the_ledger() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
