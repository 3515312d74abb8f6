output "image" {
  value = terraform_data.greeter.output.image
}

output "host" {
  value = terraform_data.greeter.output.host
}
