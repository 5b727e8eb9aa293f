"""From a request to a job: admission, the check of its images, making the job once."""
