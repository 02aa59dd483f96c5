"""What is inside a .gz, as seekable zstd, from which the identical .gz comes back."""
