use super::*;

#[test]
fn output_and_status_decide() {
    let result = |status, output: &str, expect: Option<&str>| TestResult {
        test: Test { run: "x".into(), expect: expect.map(Into::into) },
        status,
        output: output.into(),
    };
    let table = [
        (0, "x 1.2\n", Some("1.2"), true),
        (0, "x 1.3\n", Some("1.2"), false),
        (1, "x 1.2\n", Some("1.2"), false),
        (0, "", None, true),
        (127, "", None, false),
    ];
    for (status, output, expect, passed) in table {
        assert_eq!(result(status, output, expect).passed(), passed, "{status} {output} {expect:?}");
    }
}
