"""What all tests share: where support code is found, and a skip that names the missing thing."""
