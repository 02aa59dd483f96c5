"""The tests on other days and on a busy machine: none may depend on the day, the hour or the speed."""
