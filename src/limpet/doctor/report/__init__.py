"""The forms of a verdict: text for people, JSON, SARIF and JUnit for programs. They judge nothing."""
