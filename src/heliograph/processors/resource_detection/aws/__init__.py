"""What ec2 and eks need of AWS: the instance metadata service, credentials, and two calls of the EC2 API."""
