"""What happens to a message once its octets are in: recipients, trace fields, storing, bounces."""
