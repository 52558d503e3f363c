//! What must not compile: leaving a check out, making a check's value without the check, and
//! carrying an order out twice. Each file of `tests/ui` is one attempt; the compiler's words are
//! beside it.

#[test]
fn skipping_a_check_does_not_compile() {
    let attempts = trybuild::TestCases::new();
    attempts.compile_fail("tests/ui/*.rs");
}
