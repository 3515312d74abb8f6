output "image" {
  value = terraform_data.service.output.image
}
